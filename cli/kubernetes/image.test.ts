import assert from "node:assert/strict";
import { test } from "node:test";
import { parseImage } from "./image.ts";

const CASES: Readonly<Record<string, readonly [domain: string, path: string, version: string]>> = {
  "gcr.io/gloo-mesh/enterprise-networking:0.1.0": ["gcr.io", "gloo-mesh/enterprise-networking", "0.1.0"],
  "localhost:5000/a/b:v1": ["localhost:5000", "a/b", "v1"],
  "localhost/a": ["localhost", "a", ""],
  "10.0.0.1:5000/a": ["10.0.0.1:5000", "a", ""],
  busybox: ["docker.io", "library/busybox", ""],
  "istio/pilot:1.31.0": ["docker.io", "istio/pilot", "1.31.0"],
  "gcr.io/a/b:0.1.0@sha256:00ff": ["gcr.io", "a/b", "sha256:00ff"],
  "gcr.io/a/b@sha256:00ff": ["gcr.io", "a/b", "sha256:00ff"],
};

test("image name - domain, path, and the digest before the tag, as the reference tells them", () => {
  for (const [image, [domain, path, version]] of Object.entries(CASES)) {
    assert.deepEqual(parseImage(image), { domain, path, version }, image);
  }
});
