import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readKeySecrets } from "./read-key-secrets.ts";

const secret = randomBytes(32);

test("a secret is 32 bytes in base64 or hex, given or in a file of its owner's", async () => {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "millrace-secret-"));
  stack.defer(() => rm(folder, { recursive: true }));
  for (const form of ["base64", "base64url", "hex"] as const) {
    const text = secret.toString(form);
    expect(await readKeySecrets({ keySecret: text })).toEqual([secret]);
    const keySecretFile = join(folder, form);
    await writeFile(keySecretFile, `${text}\n`, { mode: 0o600 });
    expect(await readKeySecrets({ keySecretFile })).toEqual([secret]);
  }
  expect(await readKeySecrets({})).toEqual([]);
  for (const keySecret of ["", "secret", secret.subarray(1).toString("base64"), `${secret.toString("hex")}00`]) {
    await expect(readKeySecrets({ keySecret })).rejects.toThrow("32 random bytes in base64 or hex");
  }
  const older = randomBytes(32);
  const both = `${secret.toString("hex")}\n${older.toString("base64")}\n`;
  expect(await readKeySecrets({ keySecret: both })).toEqual([secret, older]);
  for (const keySecret of [`${both}secret`, both.repeat(3)]) {
    await expect(readKeySecrets({ keySecret })).rejects.toThrow("up to 4 of that, newest first");
  }
  const open = join(folder, "open");
  await writeFile(open, secret.toString("hex"), { mode: 0o644 });
  await expect(readKeySecrets({ keySecretFile: open })).rejects.toThrow(`chmod 600 ${open}`);
  await expect(readKeySecrets({ keySecretFile: join(folder, "none") })).rejects.toThrow("cannot read");
});
