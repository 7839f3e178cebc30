import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { MillraceError } from "@millrace/protocol";

/** @throws MillraceError invalid_argument when it cannot be written */
export async function writeOutput(
  path: string,
  content: Uint8Array | string,
  options: { readonly mode?: number; readonly flag?: "w" | "wx" } = {},
): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content, options);
  } catch (cause) {
    const exists = cause instanceof Error && "code" in cause && cause.code === "EEXIST";
    if (exists) throw new MillraceError("already_exists", `${path} exists; it is not overwritten`, { cause });
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MillraceError("invalid_argument", `cannot write ${path}: ${why}`, { cause });
  }
}
