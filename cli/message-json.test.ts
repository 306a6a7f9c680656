import assert from "node:assert/strict";
import { test } from "node:test";
import { GetIntentResponse, ListSessionsResponse, WatchStatusResponse } from "../proto/gen/admin/v1/admin.ts";
import { messageToJson } from "./message-json.ts";

const DIGEST = Buffer.alloc(32, 0xab);
const HEX = "ab".repeat(32);

test("meshctl JSON - hashes are hex everywhere, and nothing else is", () => {
  const status = WatchStatusResponse.fromPartial({
    virtualMeshes: [
      {
        status: { deployedSharedTrust: { rootSha256: HEX } },
        clusters: [
          { certificate: { observedVersion: DIGEST, replicas: [{ rootSha256: DIGEST, orderVersion: DIGEST }] } },
        ],
      },
    ],
  });
  const sessions = ListSessionsResponse.fromPartial({
    sessions: [{ types: [{ wantedDigest: DIGEST, acknowledgedDigest: DIGEST }] }],
  });
  const vault = { $case: "vault", value: { caSource: { $case: "caBundle", value: Buffer.from("pem") } } } as const;
  const intent = GetIntentResponse.fromPartial({
    ...{ wantedDigest: DIGEST, surplus: [{ version: DIGEST }] },
    resources: [{ version: DIGEST, certificate: { certificateAuthority: vault } }],
  });
  const texts = [
    messageToJson(WatchStatusResponse, status),
    messageToJson(ListSessionsResponse, sessions),
    messageToJson(GetIntentResponse, intent),
  ].map((json) => JSON.stringify(json));
  assert.deepEqual(
    texts.map((text) => text.split(`"${HEX}"`).length - 1),
    [4, 2, 3],
  );
  for (const text of texts) assert.equal(text.includes(DIGEST.toString("base64")), false);
  assert.match(texts[2] ?? "", new RegExp(`"caBundle":"${Buffer.from("pem").toString("base64")}"`));
});
