import { mkdir } from "node:fs/promises";

const ownerOnly = 0o700;

/**
 * Makes the folder for its owner only: database and streams hold payloads and hashes of passwords. One that is there keeps the
 * rights that it was given.
 */
export async function makeDataDir(dataDir: string): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: ownerOnly });
}
