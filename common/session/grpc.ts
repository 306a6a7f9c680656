/** What both ends of a channel set in grpc-js. Clients must not need the server's part, which brings reflection along. */
import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";

// Whatever grpc-js would print is in the errors it hands out, which go through our own log.
setLogVerbosity(logVerbosity.NONE);

/** A message larger than this is refused with RESOURCE_EXHAUSTED. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
