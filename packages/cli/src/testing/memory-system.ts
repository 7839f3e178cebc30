import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampNow, ValueSchema, type Value } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  ProcessSettingSchema,
  SettingSchema,
  SettingSource,
  type AuditService,
  type AuditVerdict,
  type Flag,
  type ListAuditEntriesRequest,
  type LogService,
  type Setting,
  type SettingsService,
  type VerifyAuditRequest,
} from "@millrace/protocol";

const text = (value: string): Value => create(ValueSchema, { kind: { case: "stringValue", value } });

/** An audit trail of one entry, one setting, flags and one job to repair, in memory. */
export class MemorySystem {
  readonly asked: (ListAuditEntriesRequest | VerifyAuditRequest)[] = [];
  readonly flags = new Map<string, Flag>();
  verdict: Omit<AuditVerdict, "$typeName"> = {
    intact: true,
    brokenSeq: 0n,
    reason: "",
    lastSeq: 1n,
    lastHash: "a".repeat(64),
    prunedSeq: 0n,
    prunedHash: "",
  };
  /** What command line and environment of the server say. */
  pinned: string | undefined;
  /** Whether each repair was a dry run. */
  readonly repairs: boolean[] = [];
  repairRefusal = "";
  #logLevel: string | undefined;

  get logs(): ServiceImpl<typeof LogService> {
    return {
      repairLogs: ({ dryRun }) => {
        this.repairs.push(dryRun);
        if (this.repairRefusal !== "") return { ok: false, reason: this.repairRefusal };
        const jobs = [{ id: "j1", stream: "JOBS_HIGH", seq: 7n, why: "the log does not hold it" }];
        return { ok: true, looked: 2n, jobs, repaired: dryRun ? 0n : 1n };
      },
    };
  }

  get audit(): Partial<ServiceImpl<typeof AuditService>> {
    return {
      listAuditEntries: (request) => {
        this.asked.push(request);
        const at = timestampFromMs(1_700_000_000_000);
        const actor = { userId: "u1", email: "ada@example.com" };
        const entry = {
          seq: 1n,
          at,
          actor,
          address: "::1",
          action: "JobService/CancelJob",
          object: "j1",
          result: "ok",
        };
        return { entries: [entry], nextPageToken: request.pageToken === "" ? "7" : "" };
      },
      verifyAudit: async function* (this: MemorySystem, request: VerifyAuditRequest) {
        this.asked.push(request);
        await Promise.resolve();
        yield { checked: 1n, total: 1n };
        yield { checked: 1n, total: 1n, verdict: this.verdict };
      }.bind(this),
    };
  }

  get settings(): Partial<ServiceImpl<typeof SettingsService>> {
    return {
      listSettings: () => ({
        settings: [
          this.#setting(),
          create(SettingSchema, { name: "databaseUrl", secret: true, source: SettingSource.ENVIRONMENT }),
        ],
      }),
      getSetting: ({ name }) => {
        if (name !== "logLevel") throw new ConnectError(`no setting ${name}`, Code.NotFound);
        return { setting: this.#setting() };
      },
      updateSetting: ({ name, value }) => {
        if (name !== "logLevel") throw new ConnectError(`no setting ${name}`, Code.NotFound);
        this.#logLevel = value?.kind.case === "stringValue" ? value.kind.value : JSON.stringify(value?.kind.value);
        return { setting: this.#setting() };
      },
      resetSetting: () => {
        this.#logLevel = undefined;
        return { setting: this.#setting() };
      },
      listFlags: () => ({ flags: [...this.flags.values()] }),
      setFlag: ({ name, enabled, percent = 100 }) => {
        const flag: Flag = { $typeName: "millrace.system.v1.Flag", name, enabled, percent, updatedAt: timestampNow() };
        this.flags.set(name, flag);
        return { flag };
      },
      evaluateFlag: ({ name, userId }) => ({ enabled: userId !== "nobody" && this.flags.get(name)?.enabled === true }),
      deleteFlag: ({ name }) => {
        this.flags.delete(name);
        return {};
      },
    };
  }

  #setting(): Setting {
    const stored = this.#logLevel;
    const unpinned = stored === undefined ? SettingSource.DEFAULT : SettingSource.DATABASE;
    return create(SettingSchema, {
      name: "logLevel",
      value: text(this.pinned ?? stored ?? "info"),
      source: this.pinned === undefined ? unpinned : SettingSource.ENVIRONMENT,
      defaultValue: text("info"),
      changeable: true,
      description: "The least severe lines that are logged",
      processes: ["w-1", "w-2"].map((node) =>
        create(ProcessSettingSchema, {
          process: "worker",
          node,
          value: text("trace"),
          source: SettingSource.COMMAND_LINE,
        }),
      ),
      variable: "MILLRACE_LOG_LEVEL",
      ...(stored === undefined ? {} : { updatedAt: timestampNow() }),
    });
  }
}
