import { join } from "node:path";
import * as z from "zod";
import { createCsr } from "../common/pki/csr.ts";
import { generateKey, privateKeyToPem } from "../common/pki/keys.ts";
import { defineOptions } from "../common/runtime/config.ts";
import { writeFileAtomic } from "../common/runtime/files.ts";
import { type AnyCommand, command } from "../common/runtime/process.ts";
import { RegistryServiceService } from "../proto/gen/admin/v1/admin.ts";
import { CALL_TIMEOUT_MS, connectionOptions, withServer } from "./connection.ts";
import { formatTime, nameSchema, outputOptions, print, printJson } from "./output.ts";

const issue = command({
  name: "operator issue",
  description: "make a key here and have it certified for a person, for one day",
  options: defineOptions({
    name: { path: "operator", schema: nameSchema, help: "who it is for: a DNS label, shown in logs", argument: "name" },
    outDir: {
      path: "outDir",
      schema: z.string().min(1).default("."),
      help: "where operator.key, operator.crt and ca.crt are written",
      argument: "dir",
    },
    ...connectionOptions,
    ...outputOptions,
  }),
  operands: ["name"],
  oneShot: true,
  run: async (config, { signal }) => {
    const { name, outDir } = config;
    const key = await generateKey({ type: "ec", curve: "P-256" });
    const request = { operator: name, certificateSigningRequest: await createCsr({ key }) };
    const response = await withServer(config, signal, (dialer) =>
      dialer.unary(RegistryServiceService.issueOperatorCertificate, request, { signal, timeoutMs: CALL_TIMEOUT_MS }),
    );
    const files = {
      key: join(outDir, "operator.key"),
      cert: join(outDir, "operator.crt"),
      cacert: join(outDir, "ca.crt"),
    };
    await writeFileAtomic(files.key, privateKeyToPem(key), 0o600);
    await writeFileAtomic(files.cert, response.certificateChain, 0o644);
    await writeFileAtomic(files.cacert, response.trustBundle, 0o644);
    const flags = `--cert ${files.cert} --key ${files.key} --cacert ${files.cacert}`;
    if (config.json) return printJson({ operator: name, notAfter: response.notAfter, ...files });
    print(`operator ${name} has a certificate until ${formatTime(response.notAfter)}; use it so:\n`);
    print(`  meshctl relay sessions --server HOST:9900 ${flags}`);
  },
});

export const operatorCommands: readonly AnyCommand[] = [issue];
