import type { Dialer } from "../common/session/client.ts";
import { joinStatus } from "../common/session/status-parts.ts";
import { AdminServiceService, type WatchStatusRequest, type WatchStatusResponse } from "../proto/gen/admin/v1/admin.ts";

/** Each status whole, however many messages it took: that of thousands of clusters fits into no single one. */
export async function* watchStatus(
  dialer: Pick<Dialer, "serverStream">,
  { cluster }: Pick<WatchStatusRequest, "cluster">,
  signal: AbortSignal,
): AsyncGenerator<WatchStatusResponse, void, undefined> {
  const request = { virtualMesh: undefined, cluster, inParts: true };
  let begun: WatchStatusResponse | undefined;
  for await (const part of dialer.serverStream(AdminServiceService.watchStatus, request, signal)) {
    const whole = begun ?? part;
    if (begun) joinStatus(begun, part);
    begun = whole.more ? whole : undefined;
    if (!begun) yield whole;
  }
}
