import type { StateDirectory } from "../../common/runtime/state-directory.ts";

/** Documents that are forgotten at the end. */
export function memoryDocuments(): Pick<StateDirectory, "document" | "file"> {
  return {
    file: (name) => `memory:${name}`,
    document: <T>() => {
      let kept: T | undefined;
      return {
        read: async () => kept,
        write: async (value: T) => {
          kept = value;
        },
      };
    },
  };
}
