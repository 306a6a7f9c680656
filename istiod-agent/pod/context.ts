/** Which pod this is. */
export interface PodContext {
  readonly podName: string;
  readonly podNamespace: string;
  readonly serviceAccount: string;
}
