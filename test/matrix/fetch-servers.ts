import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { DebianArchive, debianNats } from "@millrace/bus/testing";

/** What the matrix runs on: servers in a folder of the checkout, nothing installed. */
export interface MatrixServers {
  readonly brokers: readonly { readonly version: string; readonly binary: string }[];
  /** Each with the PgBouncer of the same release. */
  readonly databases: readonly { readonly version: string; readonly binDir: string; readonly pgbouncer: string }[];
}

/** PostgreSQL of each release of Debian that is in use. */
export const debianPostgres = [
  { version: "15", release: "bookworm" },
  { version: "17", release: "trixie" },
  { version: "18", release: "sid" },
] as const;

const root = path.resolve(import.meta.dirname, "../..");
export const matrixFolder = path.join(root, ".millrace/matrix");

/** Servers that are there already are not fetched again. */
export async function fetchServers(folder: string = matrixFolder): Promise<MatrixServers> {
  await mkdir(folder, { recursive: true });
  await using archives = new Archives(folder);
  const brokers = [];
  for (const { version, release } of debianNats) {
    const target = path.join(folder, `nats-${version}`);
    await once(target, async (fresh) => {
      const archive = await archives.of(release);
      await expectVersion(archive, "nats-server", `${version}-`);
      await archive.unpack(["nats-server"], fresh);
    });
    brokers.push({ version, binary: path.join(target, "usr/sbin/nats-server") });
  }
  const databases = [];
  for (const { version, release } of debianPostgres) {
    const target = path.join(folder, `postgres-${version}`);
    const binDir = `usr/lib/postgresql/${version}/bin`;
    await once(target, async (fresh) => {
      const archive = await archives.of(release);
      const server = `postgresql-${version}`;
      await expectVersion(archive, server, `${version}.`);
      await archive.unpack(await archive.withLibraries([server]), fresh);
      await runWithOwnLibraries(fresh, path.join(fresh, binDir), ["initdb", "postgres"]);
      // Its compiler is not fetched: it saves time in queries that run for seconds.
      await rm(path.join(fresh, `usr/lib/postgresql/${version}/lib/llvmjit.so`), { force: true });
    });
    const pooler = path.join(folder, `pgbouncer-${release}`);
    await once(pooler, async (fresh) => {
      const archive = await archives.of(release);
      await archive.unpack(await archive.withLibraries(["pgbouncer"]), fresh);
      await runWithOwnLibraries(fresh, path.join(fresh, "usr/sbin"), ["pgbouncer"]);
    });
    databases.push({ version, binDir: path.join(target, binDir), pgbouncer: path.join(pooler, "usr/sbin/pgbouncer") });
  }
  return { brokers, databases };
}

/** Whole or not at all, though it may be ended in the middle. */
async function once(target: string, fill: (fresh: string) => Promise<void>): Promise<void> {
  if (existsSync(target)) return;
  const fresh = await mkdtemp(`${target}.`);
  try {
    await fill(fresh);
    // PostgreSQL's account must come in, and a fresh temporary folder is its maker's alone.
    await chmod(fresh, 0o755);
    await rename(fresh, target);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    throw error;
  }
}

async function expectVersion(archive: DebianArchive, name: string, start: string): Promise<void> {
  const version = await archive.version(name);
  if (version?.startsWith(start) === true) return;
  throw new Error(`${name} of ${archive.release} is ${version ?? "missing"}, the matrix wants ${start}*`);
}

/**
 * Lets programs run with the C library that was unpacked with them: theirs may be newer than the machine's. A program finds its
 * files from where it seems to lie, so a script takes its place and its name.
 */
async function runWithOwnLibraries(fresh: string, binDir: string, programs: readonly string[]): Promise<void> {
  const files = await readdir(fresh, { recursive: true });
  const loader = files.find((name) => /^(usr\/)?lib(64)?\/(.*\/)?ld-linux-[^/]+\.so\.\d$/.test(name));
  if (loader === undefined) throw new Error(`no loader in ${fresh}`);
  const libraries = files.filter((name) => /^(usr\/)?lib(64)?\/.*\.so\.\d/.test(name));
  const folders = [...new Set(libraries.map((name) => path.dirname(name)))];
  const up = path.relative(binDir, fresh);
  const searched = folders.map((name) => `$root/${name}`).join(":");
  for (const program of programs) {
    const original = path.join(binDir, program);
    await rename(original, `${original}.bin`);
    const script = `#!/bin/sh
root="\${0%/*}/${up}"
exec "$root/${loader}" --library-path "${searched}" --argv0 "$0" "$0.bin" "$@"
`;
    await writeFile(original, script, { mode: 0o755 });
  }
}

/** Lists of a release, fetched once and only when something of it is missing. */
class Archives implements AsyncDisposable {
  readonly #folder: string;
  readonly #open = new Map<string, Promise<DebianArchive>>();

  constructor(folder: string) {
    this.#folder = path.join(folder, "apt");
  }

  of(release: string): Promise<DebianArchive> {
    const known = this.#open.get(release);
    if (known !== undefined) return known;
    const opening = DebianArchive.open(release, path.join(this.#folder, release));
    this.#open.set(release, opening);
    return opening;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#open.values());
    await rm(this.#folder, { recursive: true, force: true });
  }
}
