import type { Order } from "../../proto/gen/istiod/v1/istiod.ts";

/** What this pod shall obtain, or why that is not known, for people. */
export type OrderState =
  { readonly kind: "waiting"; readonly reason: string } | { readonly kind: "order"; readonly order: Order };
