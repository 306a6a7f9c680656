import metadata from "../../package.json" with { type: "json" };

/** Version of the product: all programs are released together. */
export const VERSION: string = metadata.version;
