/** What the two ends of the local channel (agent 9977, istiod-agent) agree on beside the proto. */

/** Audience of the tokens that open a link. */
export const LINK_AUDIENCE = "enterprise-agent";

/** Each end gives a sign of life this often. */
export const LINK_HEARTBEAT_MS = 10_000;

/** An end that was silent for so many heartbeats is taken for gone: its stream is half open. */
export const LINK_SILENT_HEARTBEATS = 3;
