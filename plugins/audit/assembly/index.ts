import { Host } from "@extism/as-pdk";
import { fail } from "../../lib/assembly/fail";
import { JsonKind, JsonReader, quote, quoteAll } from "../../sdk/assembly/json";
import { judge } from "./judge";
import { respond } from "../../lib/assembly/respond";

/**
 * Takes an audit event, `{"type":"user.login", …}` (`event` is taken for `type` as well), and returns
 * `{event, category, severity, verdict, reasons}`.
 */
export function on_audit_event(): i32 {
  const reader = new JsonReader(Host.inputString());
  const event = reader.read();
  if (reader.problem.length > 0) return fail("not JSON: " + reader.problem);
  if (event.kind != JsonKind.Object) return fail("not a JSON object");
  const type = event.stringOr("type", event.stringOr("event", ""));
  if (type.length == 0) return fail('type: must name the event, such as "user.login"');

  const judgement = judge(type, event);
  return respond(
    '{"event":' + quote(type) + ',"category":' + quote(judgement.category) +
      ',"severity":' + quote(judgement.severityName()) + ',"verdict":' + quote(judgement.verdict()) +
      ',"reasons":' + quoteAll(judgement.reasons) + "}",
  );
}
