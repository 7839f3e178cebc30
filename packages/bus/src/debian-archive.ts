import { execFile } from "node:child_process";
import { access, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
/** The lists of one release are some 10 MB, a server with its libraries some 60 MB. */
const networkTimeoutMs = 180_000;
const localTimeoutMs = 60_000;
const mostOutputBytes = 16 << 20;
/** Of packages that depend on each other; a server has some 40. */
const mostPackages = 200;
/** Every Debian has it; it signs all releases. */
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

/**
 * One release of Debian beside the one that is installed: apt checks signatures and checksums as always, but with lists, cache
 * and sources in a folder of ours. Nothing is installed, and nothing needs root. The mirror is the machine's own.
 */
export class DebianArchive {
  readonly release: string;
  readonly #configFile: string;

  private constructor(release: string, configFile: string) {
    this.release = release;
    this.#configFile = configFile;
  }

  /**
   * Fetches the release's lists into `folder`.
   * @param release such as `trixie` or `sid`
   * @throws Error when this is no Debian, or its mirror cannot be reached
   */
  static async open(release: string, folder: string): Promise<DebianArchive> {
    await Promise.all(
      ["lists/partial", "cache/archives/partial"].map((name) => mkdir(join(folder, name), { recursive: true })),
    );
    const signedBy = (await exists(keyring)) ? `[signed-by=${keyring}] ` : "";
    await writeFile(join(folder, "sources.list"), `deb ${signedBy}${await ownMirror()} ${release} main\n`);
    await writeFile(join(folder, "status"), "");
    const configFile = join(folder, "apt.conf");
    await writeFile(configFile, configText(folder));
    const archive = new DebianArchive(release, configFile);
    await archive.#apt("apt-get", ["update", "-qq"], folder, networkTimeoutMs);
    return archive;
  }

  /** @returns as Debian writes it, such as `2.10.27-1+b2`; undefined when the release has no such package */
  async version(name: string): Promise<string | undefined> {
    const found = /^ {2}Candidate: (\S+)$/m.exec(await this.#apt("apt-cache", ["policy", name]))?.[1];
    return found === "(none)" ? undefined : found;
  }

  /** The packages and the libraries that they need to run, also the C library: what is installed may be older. */
  async withLibraries(names: readonly string[]): Promise<string[]> {
    const all = new Set(names);
    for (let found = [...all]; found.length > 0;) {
      if (all.size > mostPackages) throw new Error(`${names.join(", ")}: more than ${mostPackages} packages`);
      const depends = await this.#apt("apt-cache", ["depends", "--important", ...found]);
      found = [];
      for (const [, library] of depends.matchAll(/^ [ |](?:Pre)?Depends: (lib\S+|zlib1g)$/gm)) {
        // Perl's modules serve scripts around a server; LLVM its just-in-time compiler, which it does without.
        if (library === undefined || /-perl$|^libllvm/.test(library) || all.has(library)) continue;
        all.add(library);
        found.push(library);
      }
    }
    return [...all];
  }

  /** Fetches packages and lays their files below `target`, as they would lie below `/`. */
  async unpack(names: readonly string[], target: string): Promise<void> {
    await mkdir(target, { recursive: true });
    const folder = await mkdtemp(join(target, ".packages-"));
    try {
      await this.#apt("apt-get", ["download", "-qq", ...names], folder, networkTimeoutMs);
      const archives = (await readdir(folder)).filter((name) => name.endsWith(".deb"));
      if (archives.length < names.length)
        throw new Error(`apt-get left ${archives.length} of ${names.length} packages`);
      for (const name of archives) await run("dpkg", ["-x", join(folder, name), target], { timeout: localTimeoutMs });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #apt(command: string, args: readonly string[], cwd = "/", timeout = localTimeoutMs): Promise<string> {
    const options = { cwd, timeout, maxBuffer: mostOutputBytes, env: { ...process.env, LC_ALL: "C" } };
    return (await run(command, ["-c", this.#configFile, ...args], options)).stdout;
  }
}

/** Comes after the machine's own settings, of which it keeps those for proxies. */
function configText(folder: string): string {
  const text = (name: string): string => JSON.stringify(join(folder, name));
  return `#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State::lists ${text("lists")};
Dir::State::status ${text("status")};
Dir::Cache ${text("cache")};
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Etc::sourcelist ${text("sources.list")};
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none";
${process.getuid?.() === 0 ? '// Its own account may not read what lies in a private folder.\nAPT::Sandbox::User "root";\n' : ""}`;
}

/** Where this machine gets Debian from. */
async function ownMirror(): Promise<string> {
  const release = /^VERSION_CODENAME=(\S+)$/m.exec(await readFile("/etc/os-release", "utf8").catch(() => ""))?.[1];
  const names = new Set([release, "oldstable", "stable", "testing", "unstable", "sid"]);
  const format = ["--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages"];
  const { stdout } = await run("apt-get", ["indextargets", ...format], { timeout: localTimeoutMs });
  for (const line of stdout.split("\n")) {
    const [mirror, of, component] = line.split(" ");
    if (mirror !== undefined && component === "main" && names.has(of) && /\/debian\b/.test(mirror)) return mirror;
  }
  throw new Error("apt knows no mirror of Debian");
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
