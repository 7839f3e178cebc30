import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readKeySecret } from "./read-key-secret.ts";

const secret = randomBytes(32);

test("a secret is 32 bytes in base64 or hex, given or in a file of its owner's", async () => {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "millrace-secret-"));
  stack.defer(() => rm(folder, { recursive: true }));
  for (const form of ["base64", "base64url", "hex"] as const) {
    const text = secret.toString(form);
    expect(await readKeySecret({ keySecret: text })).toEqual(secret);
    const keySecretFile = join(folder, form);
    await writeFile(keySecretFile, `${text}\n`, { mode: 0o600 });
    expect(await readKeySecret({ keySecretFile })).toEqual(secret);
  }
  expect(await readKeySecret({})).toBeUndefined();
  for (const keySecret of ["", "secret", secret.subarray(1).toString("base64"), `${secret.toString("hex")}00`]) {
    await expect(readKeySecret({ keySecret })).rejects.toThrow("32 random bytes in base64 or hex");
  }
  const open = join(folder, "open");
  await writeFile(open, secret.toString("hex"), { mode: 0o644 });
  await expect(readKeySecret({ keySecretFile: open })).rejects.toThrow(`chmod 600 ${open}`);
  await expect(readKeySecret({ keySecretFile: join(folder, "none") })).rejects.toThrow("cannot read");
});
