import { JsonValue } from "../../sdk/assembly/json";

export enum Severity {
  Info,
  Low,
  Medium,
  High,
  Critical,
}

const NAMES = ["info", "low", "medium", "high", "critical"];

/** What is thought of an event: each reason can only raise the severity. */
export class Judgement {
  severity: Severity = Severity.Info;
  reasons: string[] = [];

  constructor(public category: string) {}

  because(severity: Severity, reason: string): void {
    if (severity > this.severity) this.severity = severity;
    this.reasons.push(reason);
  }

  severityName(): string {
    return NAMES[this.severity];
  }

  verdict(): string {
    if (this.severity >= Severity.High) return "alert";
    return this.severity == Severity.Medium ? "review" : "allow";
  }
}

export function judge(type: string, event: JsonValue): Judgement {
  let judgement: Judgement;
  if (type == "user.login") judgement = judgeLogin(event);
  else if (type == "user.logout") judgement = new Judgement("authentication");
  else if (type == "user.password_change" || type == "user.mfa_change") judgement = judgeCredentials(type, event);
  else if (type == "user.data_access") judgement = judgeDataAccess(event);
  else if (type == "user.role_change") judgement = judgeRoles(event);
  else if (type == "admin.config_change") judgement = judgeConfig(event);
  else if (type.startsWith("admin.")) {
    judgement = new Judgement("administration");
    judgement.because(Severity.Medium, "an administrative action without a rule of its own");
  } else {
    judgement = new Judgement("unknown");
    judgement.because(Severity.Low, "no rule knows this event");
  }
  if (event.stringOr("actor", "").length == 0) judgement.because(Severity.Medium, "nobody is named as the actor");
  return judgement;
}

function judgeLogin(event: JsonValue): Judgement {
  const judgement = new Judgement("authentication");
  const failures = event.numberOr("failedAttempts", 0);
  if (!event.boolOr("success", true)) judgement.because(Severity.Low, "the login failed");
  if (failures >= 20) judgement.because(Severity.Critical, "20 or more failed attempts: somebody guesses passwords");
  else if (failures >= 5) judgement.because(Severity.High, "5 or more failed attempts");
  if (event.boolOr("newDevice", false)) judgement.because(Severity.Medium, "a device that was not seen before");
  if (!event.boolOr("mfa", true)) judgement.because(Severity.Medium, "no second factor");
  return judgement;
}

function judgeCredentials(type: string, event: JsonValue): Judgement {
  const judgement = new Judgement("authentication");
  if (type == "user.password_change") judgement.because(Severity.Low, "the password was changed");
  else if (event.boolOr("enabled", false)) judgement.because(Severity.Info, "a second factor was set up");
  else judgement.because(Severity.High, "the second factor was removed");
  return judgement;
}

function judgeDataAccess(event: JsonValue): Judgement {
  const judgement = new Judgement("data_access");
  const records = event.numberOr("records", 1);
  const label = event.stringOr("classification", "").toLowerCase();
  const isSensitive = label == "pii" || label == "secret" || label == "confidential";
  if (isSensitive) judgement.because(Severity.Medium, "the data is classified as " + label);
  if (records > 10000) judgement.because(Severity.High, "more than 10,000 records at once");
  else if (records > 1000) judgement.because(Severity.Medium, "more than 1,000 records at once");
  if (event.boolOr("export", false)) {
    judgement.because(isSensitive ? Severity.Critical : Severity.Medium, "the data left the system");
  }
  return judgement;
}

function judgeRoles(event: JsonValue): Judgement {
  const judgement = new Judgement("administration");
  const role = event.stringOr("role", "");
  if (role == "admin" || role == "owner") judgement.because(Severity.High, "the role " + role + " was given");
  else judgement.because(Severity.Medium, "roles were changed");
  if (event.stringOr("actor", "") == event.stringOr("target", " ")) {
    judgement.because(Severity.Critical, "the actor changed their own role");
  }
  return judgement;
}

/** Beginnings of setting names that guard the system itself. */
const GUARDS = ["auth", "security", "mfa", "encryption", "tls", "firewall", "audit", "retention"];

function judgeConfig(event: JsonValue): Judgement {
  const judgement = new Judgement("administration");
  const setting = event.stringOr("setting", "").toLowerCase();
  judgement.because(Severity.Medium, "the configuration was changed");
  for (let i = 0; i < GUARDS.length; i++) {
    if (setting.startsWith(GUARDS[i])) judgement.because(Severity.High, "the setting " + setting + " guards the system");
  }
  if (setting.startsWith("audit") && !event.boolOr("value", true)) {
    judgement.because(Severity.Critical, "the audit trail was switched off");
  }
  return judgement;
}
