import type { ConnectRequest, Hello } from "../../proto/gen/relay/v1/relay.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";

const TIMEOUT_MS = 10_000;

/** Reads the first message of a session. Throws `deadline_exceeded`, `invalid_argument` where it is no hello, and the reason of `signal`. */
export async function readHello(
  requests: AsyncIterator<ConnectRequest>,
  clock: Clock,
  signal: AbortSignal,
): Promise<Hello> {
  const timeout = new AbortController();
  const late = clock.sleep(TIMEOUT_MS, AbortSignal.any([signal, timeout.signal])).then(
    () => {
      throw new MeshError("deadline_exceeded", `no hello within ${TIMEOUT_MS} ms`);
    },
    () => {
      // Who has left is not waited for, whatever becomes of the iterator.
      signal.throwIfAborted();
      return new Promise<never>(() => undefined);
    },
  );
  try {
    const first = await Promise.race([requests.next(), late]);
    const message = first.done ? undefined : first.value.message;
    if (message?.$case !== "hello") throw new MeshError("invalid_argument", "the first message must be hello");
    return message.value;
  } finally {
    timeout.abort();
  }
}
