import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { API_SERVER_TOOLS, startApiServer } from "../harness/api-server.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { createCertificate, ISTIOD_TOOLS, startIstiod } from "../harness/istiod.ts";
import { skipWithout } from "../harness/needs.ts";
import { OPENSSL_TOOLS, opensslIntermediate, opensslRequest, opensslRoot, opensslVerify } from "../harness/openssl.ts";
import { eventually } from "../harness/wait.ts";

const skip = skipWithout([...API_SERVER_TOOLS, ...ISTIOD_TOOLS, ...OPENSSL_TOOLS]);

test(
  "real istiod - signs a workload's request with the CA it finds, and gives every namespace its root",
  { skip },
  async () => {
    await using api = await startApiServer();
    await using folder = await temporaryFolder();
    const root = await opensslRoot("test root");
    const intermediate = await opensslIntermediate(root, "test intermediate");
    const files = {
      "ca-cert.pem": intermediate.certificate,
      "ca-key.pem": intermediate.key,
      "cert-chain.pem": intermediate.certificate,
      "root-cert.pem": root.certificate,
    };
    for (const [name, text] of Object.entries(files)) await writeFileAtomic(folder.file(name), text);
    await using istiod = await startIstiod({ apiServer: api, cacertsDirectory: folder.path });
    await api.createServiceAccount("bookinfo", "reviews");
    const token = await api.createToken({ namespace: "bookinfo", serviceAccount: "reviews", audience: "istio-ca" });
    const { csr } = await opensslRequest("reviews");

    const chain = await createCertificate({ istiod, csrPem: csr, token });
    await opensslVerify(chain.slice(0, -1), root.certificate);
    const [leaf, issuer] = chain.map((pem) => new X509Certificate(pem));
    assert.match(leaf?.subjectAltName ?? "", /URI:spiffe:\/\/cluster\.local\/ns\/bookinfo\/sa\/reviews/);
    assert.equal(issuer?.fingerprint256, new X509Certificate(intermediate.certificate).fingerprint256);
    const handedOut = await eventually("istio-ca-root-cert in bookinfo", () =>
      api.kubectl([
        "get",
        "configmap",
        "istio-ca-root-cert",
        "-n",
        "bookinfo",
        "-o",
        "jsonpath={.data.root-cert\\.pem}",
      ]),
    );
    assert.equal(handedOut, root.certificate);
  },
);
