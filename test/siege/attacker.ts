/** `attacker.ts <name> <from> <token> <httpPort> <grpcPort>`: one attack in a process of its own, until its input ends. */
import { AttackGround } from "./attack-ground.ts";
import { attacks, type AttackName } from "./attacks.ts";

const [name = "", from = "", token = "", httpPort, grpcPort] = process.argv.slice(2);
const ground = new AttackGround(Number(httpPort), Number(grpcPort), from, token);
void attacks[name as AttackName](ground, () => process.stdout.write("\n"));
process.stdin.resume().once("end", () => {
  process.stdout.write(ground.report(), () => process.exit());
});
