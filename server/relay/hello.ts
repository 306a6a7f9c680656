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
  signal.throwIfAborted();
  // One signal with a listener: signals joined by AbortSignal.any cost more than all the rest of a hello.
  const over = new AbortController();
  const leave = (): void => over.abort(signal.reason);
  signal.addEventListener("abort", leave, { once: true });
  const late = clock.sleep(TIMEOUT_MS, over.signal).then(
    () => {
      throw new MeshError("deadline_exceeded", `no hello within ${TIMEOUT_MS} ms`);
    },
    (reason: unknown) => {
      // Who has left is not waited for, whatever becomes of the iterator.
      if (reason !== HEARD) throw reason;
      return new Promise<never>(() => undefined);
    },
  );
  try {
    const first = await Promise.race([requests.next(), late]);
    const message = first.done ? undefined : first.value.message;
    if (message?.$case !== "hello") throw new MeshError("invalid_argument", "the first message must be hello");
    return message.value;
  } finally {
    signal.removeEventListener("abort", leave);
    over.abort(HEARD);
  }
}

const HEARD = new MeshError("canceled", "the first message has come");
