import { rename, writeFile } from "node:fs/promises";

/** Replaces a file as a whole: who follows it never reads a half. @param mode of the file, such as 0o600 for a secret */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const fresh = `${path}.${process.pid}.new`;
  await writeFile(fresh, text, { mode, flag: "wx" });
  await rename(fresh, path);
}
