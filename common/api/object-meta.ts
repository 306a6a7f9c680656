import type { JsonSchema } from "./resources.ts";

const STRING: JsonSchema = { type: "string" };
const STRING_MAP: JsonSchema = { type: "object", additionalProperties: STRING };
const TIME: JsonSchema = { type: "string", format: "date-time", nullable: true };
const OBJECTS: JsonSchema = { type: "array", items: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };

/**
 * Schema of ObjectMeta, which a CRD may not describe itself. It takes what `kubectl get -o yaml` prints, so that a file
 * exported from a cluster is accepted, and insists on a namespace, since a file has no current one.
 */
export const OBJECT_META_SCHEMA: JsonSchema = {
  type: "object",
  required: ["name", "namespace"],
  properties: {
    name: {
      type: "string",
      maxLength: 253,
      pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    },
    namespace: { type: "string", maxLength: 63, pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" },
    generateName: STRING,
    uid: STRING,
    resourceVersion: STRING,
    selfLink: STRING,
    generation: { type: "integer", format: "int64", minimum: 0 },
    creationTimestamp: TIME,
    deletionTimestamp: TIME,
    deletionGracePeriodSeconds: { type: "integer", format: "int64" },
    labels: STRING_MAP,
    annotations: STRING_MAP,
    finalizers: { type: "array", items: STRING },
    ownerReferences: OBJECTS,
    managedFields: OBJECTS,
  },
};
