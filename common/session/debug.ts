import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { Server } from "@grpc/grpc-js";
import type { PackageDefinition } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation } from "grpc-health-check";

/** Descriptors of proto/, made by `npm run generate`; beside the bundles in a build, in proto/gen in a checkout. */
const DESCRIPTORS = ["./descriptors.binpb", "../../proto/gen/descriptors.binpb"];

/**
 * Reflection from buf's own descriptors: proto-loader's lose their imports, and a strict client then fails to link
 * (grpc-node#2595).
 */
export function addReflection(server: Server, services: readonly string[]): void {
  const set = fromBinary(FileDescriptorSetSchema, readDescriptors());
  const files = set.file.map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file)));
  const definitions = { all: { fileDescriptorProtos: files } } as unknown as PackageDefinition;
  new ReflectionService(definitions, { services: [...services] }).addToServer(server);
}

function readDescriptors(): Uint8Array {
  for (const path of DESCRIPTORS) {
    try {
      return readFileSync(fileURLToPath(new URL(path, import.meta.url)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  throw new Error("descriptors.binpb is missing; run npm run generate");
}

/** Says whether the services of a listener can be used now. */
export type HealthSwitch = (serving: boolean) => void;

export function addHealth(server: Server, services: readonly string[]): HealthSwitch {
  const health = new HealthImplementation({ "": "NOT_SERVING" });
  health.addToServer(server);
  return (serving) => {
    for (const service of ["", ...services]) health.setStatus(service, serving ? "SERVING" : "NOT_SERVING");
  };
}
