import { once } from "node:events";
import { createServer } from "node:net";
import { MillraceError } from "@millrace/protocol";

/** @throws MillraceError failed_precondition naming the setting to change */
export async function checkPort(host: string, port: number, variable: string, what: string): Promise<void> {
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, "listening");
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? cause.code : "";
    if (reason === "EADDRNOTAVAIL" || reason === "ENOTFOUND") {
      const words = `${host} is no address of this machine: set MILLRACE_HOST to one that is`;
      throw new MillraceError("failed_precondition", words, { cause });
    }
    const words = reason === "EADDRINUSE" ? "is in use by another process" : `cannot be used (${String(reason)})`;
    throw new MillraceError(
      "failed_precondition",
      `port ${port} for ${what} ${words}: set ${variable} to another one`,
      { cause },
    );
  }
  const closed = once(server, "close");
  server.close();
  await closed;
}
