/** Reference to a namespaced resource. Both parts may be missing in what a person wrote; validation says so. */
export interface ObjectRef {
  readonly name?: string;
  readonly namespace?: string;
}

/** A reference with both of its parts, as a valid resource and a checked reference have. */
export interface NamespacedName {
  readonly namespace: string;
  readonly name: string;
}

/** Kubernetes ObjectMeta, as far as it is read here. Times are RFC 3339. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** metav1.Condition, so that `kubectl wait` works. `lastTransitionTime` is RFC 3339. */
export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly observedGeneration?: number;
  readonly lastTransitionTime: string;
  readonly reason: string;
  readonly message: string;
}

/** Name of a resource; its namespace is "" when it has none. */
export function nameOf({ metadata }: { readonly metadata: ObjectMeta }): NamespacedName {
  return { namespace: metadata.namespace ?? "", name: metadata.name };
}

/** The reference when both of its parts are there. */
export function completeRef({ namespace, name }: ObjectRef): NamespacedName | undefined {
  return namespace && name ? { namespace, name } : undefined;
}

/** "namespace/name": the key of a resource inside its kind. */
export function refKey(ref: ObjectRef): string {
  return `${ref.namespace ?? ""}/${ref.name ?? ""}`;
}

/** "name.namespace.": the key of a mesh in `VirtualMesh.status.meshes`. The part after the last dot, a cluster, is empty. */
export function statusKey(ref: ObjectRef): string {
  return `${ref.name ?? ""}.${ref.namespace ?? ""}.`;
}
