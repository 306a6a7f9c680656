import type { ApprovalStatus } from "../../common/api/virtual-mesh.ts";

/**
 * The texts of all meshes of a VirtualMesh have this many bytes together. With five thousand meshes its object then
 * stays below the 1.5 MiB that etcd takes.
 */
const MAX_BYTES = 256 * 1024;

/** The same without the texts that there is no room for: errors go first, then warnings, each in the order of the meshes. */
export function withinBound(meshes: Readonly<Record<string, ApprovalStatus>>): Record<string, ApprovalStatus> {
  let left = MAX_BYTES;
  const fits = (texts: readonly string[] = []): boolean => {
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(JSON.stringify(text)), 0);
    if (bytes > left) return false;
    left -= bytes;
    return true;
  };
  const all = Object.entries(meshes);
  const told = all.filter(([, { errors }]) => fits(errors)).map(([key]) => key);
  const remarked = all.filter(([, { warnings }]) => fits(warnings)).map(([key]) => key);
  const [withErrors, withWarnings] = [new Set(told), new Set(remarked)];
  return Object.fromEntries(
    all.map(([key, { errors, warnings, ...rest }]) => [
      key,
      {
        ...rest,
        ...(errors && withErrors.has(key) && { errors }),
        ...(warnings && withWarnings.has(key) && { warnings }),
      },
    ]),
  );
}
