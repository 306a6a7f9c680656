import { Agent } from "node:https";
import { join } from "node:path";
import { MeshError } from "../../runtime/errors.ts";
import { readGivenFile } from "../../runtime/files.ts";
import { exchange, type HttpAnswer } from "../../runtime/http.ts";
import type { HostPort } from "../../runtime/settings.ts";
import { connectionError, isTlsFault, refusalError } from "../errors.ts";

export interface InClusterOptions {
  /** What a pod's KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT name. */
  readonly apiServer: HostPort;
  /** Directory of the pod's service account: `token` and `ca.crt`, which the kubelet replaces at will. */
  readonly accountDir: string;
  /** Milliseconds until one request is given up. */
  readonly deadlineMs?: number;
}

/** One request, its address below the API server's. */
export interface InClusterRequest {
  /** Words for messages: "get configmap gloo-mesh/enterprise-agent-ca". */
  readonly what: string;
  readonly method: "GET" | "POST";
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: object;
}

const DEADLINE_MS = 10_000;
/** A Secret or a ConfigMap holds at most 1 MiB, and base64 or JSON around it adds a third. */
const MAX_ANSWER_BYTES = 2 * 1024 * 1024;
/** Requests come in bursts, at the start and at renewals, with most of an hour between. */
const KEEP_IDLE_MS = 15_000;

/**
 * A pod's way to its own API server for the few calls that need no library: a client of Kubernetes costs tens of MiB
 * in every istiod's pod. Token and CA are read at each request. Errors are MeshErrors that hold neither headers nor
 * bodies of ours. Close it when done.
 */
export class InClusterClient {
  readonly #options: InClusterOptions;
  // Said, so that NODE_TLS_REJECT_UNAUTHORIZED in somebody's environment changes nothing.
  readonly #agent = new Agent({
    keepAlive: true,
    minVersion: "TLSv1.2",
    rejectUnauthorized: true,
    timeout: KEEP_IDLE_MS,
  });

  constructor(options: InClusterOptions) {
    this.#options = options;
  }

  /**
   * The parsed answer. Throws those of `refusalError`, `unavailable`, `deadline_exceeded` after 10 s,
   * `failed_precondition` for a pod without a service account, and the reason of an aborted `signal`.
   */
  async call(request: InClusterRequest, signal: AbortSignal): Promise<unknown> {
    const { what } = request;
    const deadline = AbortSignal.timeout(this.#options.deadlineMs ?? DEADLINE_MS);
    const { status, text } = await this.#send(request, AbortSignal.any([signal, deadline])).catch((thrown: unknown) => {
      signal.throwIfAborted();
      throw describeLoss(what, deadline.aborted ? deadline.reason : thrown);
    });
    const body = parseJson(text);
    if (status < 200 || status > 299) throw describeRefusal(refusalError(what, status, body));
    if (body === undefined) throw new MeshError("unavailable", `api server's answer to ${what} is no JSON`);
    return body;
  }

  close(): void {
    this.#agent.destroy();
  }

  async #send({ what, method, path, body }: InClusterRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const [token, ca] = await Promise.all([this.#read("token", signal), this.#read("ca.crt", signal)]);
    const json = body && JSON.stringify(body);
    const { host, port } = this.#options.apiServer;
    return exchange({
      options: {
        ...{ protocol: "https:", host, port, method, path, ca, agent: this.#agent, signal },
        headers: {
          authorization: `Bearer ${token.trim()}`,
          accept: "application/json",
          ...(json === undefined ? {} : { "content-type": "application/json" }),
        },
      },
      body: json,
      maxBytes: MAX_ANSWER_BYTES,
      tooLong: () => new MeshError("unavailable", `api server's answer to ${what} is over ${MAX_ANSWER_BYTES} bytes`),
    });
  }

  async #read(name: string, signal: AbortSignal): Promise<string> {
    const path = join(this.#options.accountDir, name);
    return readGivenFile(path, signal).catch((cause: unknown) => {
      signal.throwIfAborted();
      const fault = cause instanceof MeshError ? cause.message : (cause as NodeJS.ErrnoException).code;
      throw new MeshError("failed_precondition", `service account file ${path} cannot be read: ${fault ?? "why?"}`, {
        hint: "let the pod mount its service account token (automountServiceAccountToken)",
        retriable: true,
        cause,
      });
    });
  }
}

function describeLoss(what: string, thrown: unknown): MeshError {
  const error = connectionError(what, thrown);
  if (!isTlsFault(thrown)) return error;
  const hint =
    "check that ca.crt in the service account directory is the API server's, and KUBERNETES_SERVICE_HOST too";
  return new MeshError(error.code, error.message, { hint });
}

/** The token of a pod is nobody's kubeconfig. */
function describeRefusal(error: MeshError): MeshError {
  const { code, message, cause } = error;
  if (code !== "unauthenticated") return error;
  const hint = "check that the mounted service account token is this API server's, and that its pod is still there";
  return new MeshError(code, message, { cause, hint, retriable: true });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
