/** Fields that are hashes. What else is bytes, as a bundle of certificates, stays base64. */
const DIGESTS: ReadonlySet<string> = new Set([
  ...["version", "rootSha256", "observedVersion", "orderVersion"],
  ...["wantedDigest", "acknowledgedDigest"],
]);

/** A message as programs read it: proto3 JSON, but for hashes, which are hex as openssl and the tables print them. */
export function messageToJson<T>(type: { toJSON(message: T): unknown }, message: T): unknown {
  return withHex(message, type.toJSON(message));
}

/** Looks at the message beside its JSON: a text that was one before is left as it is, whatever it is called. */
function withHex(message: unknown, json: unknown): unknown {
  if (Array.isArray(json)) {
    return Array.isArray(message) ? json.map((each, index) => withHex(message[index], each)) : json;
  }
  if (!isObject(json) || !isObject(message)) return json;
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => {
      const before = message[name];
      const isDigest = DIGESTS.has(name) && before instanceof Uint8Array;
      return [name, isDigest ? Buffer.from(before).toString("hex") : withHex(before, value)];
    }),
  );
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;
