import { openPglitePool, openServerPool, type PoolOptions } from "./open-pool.ts";
import { Store } from "./store.ts";

/** Where the data lives: a server, or a folder (`memory://` for none) for PGlite inside this process. */
export type StoreLocation = ({ readonly databaseUrl: string } & PoolOptions) | { readonly dataDir: string };

/** Opens the store without touching the database: a server that is away fails the first use, not this. */
export async function openStore(location: StoreLocation): Promise<Store> {
  if ("databaseUrl" in location) return new Store(openServerPool(location.databaseUrl, location));
  return new Store(await openPglitePool(location.dataDir));
}
