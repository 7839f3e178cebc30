import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SecretVault } from "./secret-vault.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "secrets-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function write(text: string, mode = 0o600): Promise<string> {
  const file = join(folder, "secrets.yaml");
  await writeFile(file, text);
  await chmod(file, mode);
  return file;
}

test("the environment goes before the file, and no value stays in a text", async () => {
  const file = await write("token: from-file\nother-key: sesame\nlong: sesame-open\npin: '12'\n");
  const vault = await SecretVault.open({ file, env: { MILLRACE_SECRET_TOKEN: "from-env" } });
  expect(vault.get("token")).toBe("from-env");
  expect(vault.get("other-key")).toBe("sesame");
  expect(vault.get("absent")).toBeUndefined();
  expect(vault.redact("a from-env b sesame c sesame-open d 12")).toBe(
    "a [secret TOKEN] b [secret other-key] c [secret long] d 12",
  );
});

test("a file that others may read is refused, and so is what is no mapping of texts", async () => {
  const open = async (text: string, mode?: number) => SecretVault.open({ file: await write(text, mode), env: {} });
  await expect(open("a: b", 0o640)).rejects.toThrow("chmod 600");
  await expect(open("- a", 0o600)).rejects.toThrow("mapping");
  await expect(open("a: 1", 0o600)).rejects.toThrow("quote it");
});
