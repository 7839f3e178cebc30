/**
 * Versions that the matrix ran on, the newest first, and the release of Debian that has them. A release that has moved on is
 * passed over until the matrix ran on what it has.
 */
export const debianNats = [
  { version: "2.15.1", release: "sid" },
  { version: "2.10.27", release: "trixie" },
  { version: "2.9.10", release: "bookworm" },
] as const;

/**
 * Official releases by checksum, as in the project's SHA256SUMS (https://github.com/nats-io/nats-server/releases).
 * Key: `<process.platform>-<process.arch>`.
 */
export const natsReleases: Readonly<
  Record<string, { readonly version: string; readonly file: string; readonly sha256: string }>
> = {
  "linux-x64": {
    version: "2.10.29",
    file: "linux-amd64",
    sha256: "e314da74a83a1d3876db8814c27eb990fe729640fd6452025b441bcede8390da",
  },
  "linux-arm64": {
    version: "2.10.29",
    file: "linux-arm64",
    sha256: "da4b27942ecfb4c5f0c54553d2e7f470ddda9d7581cfe8131b351a0e223ed401",
  },
  "darwin-x64": {
    version: "2.10.22",
    file: "darwin-amd64",
    sha256: "e99eb01a886b5de05972445e362e48cf8ad10b45e4cd5a5592475b184f8f81c9",
  },
  "darwin-arm64": {
    version: "2.10.22",
    file: "darwin-arm64",
    sha256: "93ce74f61a49d8fa9dfbf420e5a844e25309e429c5c8e27b54b3283d0712fcff",
  },
};
