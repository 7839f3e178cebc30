import { Resolver } from "node:dns";

/** Whether each is an address or address:port. Names would have to be asked of somebody else. */
export function areNameServers(servers: readonly string[]): boolean {
  try {
    new Resolver().setServers(servers);
    return true;
  } catch {
    return false;
  }
}
