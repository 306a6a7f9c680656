import { join } from "node:path";
import * as z from "zod";
import { readFileIfExists, writeFileAtomic } from "../../common/runtime/files.ts";
import { WORK_FOLDER } from "../install/staging.ts";

const record = z.object({
  /** Serial of the intermediate that this speaks of. */
  serial: z.string(),
  /** `requestKey` of the order that it was issued for. */
  request: z.string(),
  /** Version of that order, lower-case hex. */
  orderVersion: z.string(),
  vaultServer: z.string(),
  warnings: z.array(z.string()),
});

/** What a CA in the directory was issued for: the certificate itself does not tell. Nothing secret. */
export type IssueRecord = Readonly<z.infer<typeof record>>;

const pathOf = (directory: string): string => join(directory, WORK_FOLDER, "issued.json");

/** The record of the CA with this serial; undefined where there is none, or one of another CA, or it is damaged. */
export async function readIssueRecord(directory: string, serial: string): Promise<IssueRecord | undefined> {
  try {
    const parsed = record.safeParse(JSON.parse((await readFileIfExists(pathOf(directory))) ?? "null"));
    return parsed.success && parsed.data.serial === serial ? parsed.data : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export async function writeIssueRecord(directory: string, issued: IssueRecord): Promise<void> {
  await writeFileAtomic(pathOf(directory), `${JSON.stringify(issued, undefined, 2)}\n`);
}
