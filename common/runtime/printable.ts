import { stripVTControlCharacters } from "node:util";

/** Lines and tabs are kept; what drives a terminal is not. */
const CONTROL = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069]",
  "g",
);

/** Text for a terminal without control characters: what other programs sent must not drive it, nor turn its lines round. */
export const printable = (text: string): string => stripVTControlCharacters(text).replace(CONTROL, "");

/** The same on one line. */
export const printableLine = (text: string): string => printable(text).replace(/[\n\t]+/g, " ");
