import { VirtualMeshStatus, WatchStatusResponse } from "../../proto/gen/admin/v1/admin.ts";
import { encodeMessage } from "./encode.ts";

/** Far below what a client takes in one message, and made within a few milliseconds: sessions wait for that. */
const PART_BYTES = 64 * 1024;

/** This many rows are measured at once. What is told of one cluster may have 256 KiB. */
const ROWS = 8;

/** The same status in messages of about `partBytes` each, made one by one; `joinStatus` puts them together. */
export function* splitStatus(whole: WatchStatusResponse, partBytes = PART_BYTES): Generator<WatchStatusResponse> {
  const begin = (): WatchStatusResponse => WatchStatusResponse.create({ serverTime: whole.serverTime });
  let part = begin();
  let bytes = 0;
  for (const piece of piecesOf(whole)) {
    const more = encodeMessage(WatchStatusResponse, piece).length;
    if (bytes > 0 && bytes + more > partBytes) {
      yield { ...part, more: true };
      [part, bytes] = [begin(), 0];
    }
    joinStatus(part, piece);
    bytes += more;
  }
  yield part;
}

/** Adds what a message that follows has to say to `whole`, which is changed. */
export function joinStatus(whole: WatchStatusResponse, part: WatchStatusResponse): void {
  for (const each of part.virtualMeshes) {
    const last = whole.virtualMeshes.at(-1);
    if (last && isSame(last, each)) goOn(last, each);
    else whole.virtualMeshes.push({ ...each, status: each.status && { ...each.status }, clusters: [...each.clusters] });
  }
  whole.sourceProblems.push(...part.sourceProblems);
  whole.more = part.more;
}

/** `more` has nothing but rows, and entries of `meshes`. */
function goOn(begun: VirtualMeshStatus, more: VirtualMeshStatus): void {
  begun.clusters.push(...more.clusters);
  const entries = meshesOf(more);
  if (!entries) return;
  const meshes = meshesOf(begun);
  if (meshes) Object.assign(meshes, entries);
  else begun.status = { ...begun.status, meshes: { ...entries } };
}

function* piecesOf({ virtualMeshes, sourceProblems }: WatchStatusResponse): Generator<WatchStatusResponse> {
  for (const each of virtualMeshes) {
    for (const virtualMesh of slicesOf(each)) yield WatchStatusResponse.create({ virtualMeshes: [virtualMesh] });
  }
  for (const some of slices(sourceProblems)) yield WatchStatusResponse.create({ sourceProblems: [...some] });
}

/** The status without its meshes first, then these, then what the clusters say. */
function* slicesOf({ name, status, clusters }: VirtualMeshStatus): Generator<VirtualMeshStatus> {
  const { meshes: _, ...head } = status ?? {};
  const meshes = meshesOf({ status });
  // An empty list of meshes stays one.
  yield VirtualMeshStatus.create({ name, status: status && { ...head, ...(meshes && { meshes: {} }) } });
  for (const some of slices(Object.entries(meshes ?? {}))) {
    yield VirtualMeshStatus.create({ name, status: { meshes: Object.fromEntries(some) } });
  }
  for (const some of slices(clusters)) yield VirtualMeshStatus.create({ name, clusters: [...some] });
}

function* slices<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let from = 0; from < all.length; from += ROWS) yield all.slice(from, from + ROWS);
}

function meshesOf({ status }: Pick<VirtualMeshStatus, "status">): Record<string, unknown> | undefined {
  const meshes: unknown = status?.["meshes"];
  return typeof meshes === "object" && meshes !== null ? (meshes as Record<string, unknown>) : undefined;
}

const isSame = (a: VirtualMeshStatus, b: VirtualMeshStatus): boolean =>
  a.name?.name === b.name?.name && a.name?.namespace === b.name?.namespace;
