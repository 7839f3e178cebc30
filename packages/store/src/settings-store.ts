import type { RunQuery } from "./run-query.ts";
import {
  deleteFlag,
  deleteSetting,
  listFlags,
  listSettings,
  putFlag,
  putSetting,
  type StoredFlag,
  type StoredSetting,
} from "./sql/settings.ts";

/** Settings that were changed while the system ran, and flags of features. Fails as Store does. */
export class SettingsStore {
  readonly #run: RunQuery;

  constructor(run: RunQuery) {
    this.#run = run;
  }

  /** By name. */
  list(): Promise<StoredSetting[]> {
    return this.#run((db) => listSettings(db));
  }

  put(setting: StoredSetting): Promise<void> {
    return this.#run((db) => putSetting(db, setting));
  }

  /** Also when there is none. */
  delete(name: string): Promise<void> {
    return this.#run((db) => deleteSetting(db, name));
  }

  /** By name. */
  listFlags(): Promise<StoredFlag[]> {
    return this.#run((db) => listFlags(db));
  }

  putFlag(flag: StoredFlag): Promise<void> {
    return this.#run((db) => putFlag(db, flag));
  }

  /** Also when there is none. */
  deleteFlag(name: string): Promise<void> {
    return this.#run((db) => deleteFlag(db, name));
  }
}
