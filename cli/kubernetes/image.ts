/** The parts of an image's name, as the reference tells them. */
export interface ImageName {
  readonly domain: string;
  readonly path: string;
  /** The digest where there is one, else the tag; "" with neither. */
  readonly version: string;
}

/** Reads "gcr.io/gloo-mesh/istiod-agent:0.1.0"; what is short for Docker Hub is written out. */
export function parseImage(image: string): ImageName {
  const [, name = "", tag = "", digest = ""] = /^(.+?)(?::([^:/@]+))?(?:@(.+))?$/.exec(image) ?? [];
  const [first = "", ...rest] = name.split("/");
  const hasDomain = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  const domain = hasDomain ? first : "docker.io";
  const path = hasDomain ? rest.join("/") : rest.length > 0 ? name : `library/${name}`;
  return { domain, path, version: digest || tag };
}
