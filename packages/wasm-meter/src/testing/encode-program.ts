import { ByteWriter } from "../byte-writer.ts";
import { kinds, sectionId } from "../module-shape.ts";
import { EMPTY_BLOCK, misc, op, valueType } from "../opcodes.ts";
import { GLOBALS, MAX_PAGES, MEMORY_PAGES, PARAMS, type Instruction, type Program } from "./program.ts";

const MAGIC = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00);
/** Type 0 is every function's, type 1 the tag's. */
const FUNCTION_TYPE = 0;
const TAG_TYPE = 1;
const CATCH_ALL = 2;

/** Writes a module with exports f0, f1, … for the exported functions. */
export function encodeProgram(program: Program): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(1024);
  out.raw(MAGIC);
  section(out, sectionId.type, () => {
    const { i32 } = valueType;
    out.raw(Uint8Array.of(2, 0x60, PARAMS, i32, i32, 1, i32, 0x60, 0, 0));
  });
  section(out, sectionId.function, () => {
    out.u32(program.functions.length);
    for (const _ of program.functions) out.u32(FUNCTION_TYPE);
  });
  section(out, sectionId.table, () => out.raw(Uint8Array.of(1, valueType.funcref, 0, 4)));
  section(out, sectionId.memory, () => out.raw(Uint8Array.of(1, 1, MEMORY_PAGES, MAX_PAGES)));
  section(out, sectionId.tag, () => out.raw(Uint8Array.of(1, 0, TAG_TYPE)));
  section(out, sectionId.global, () => {
    out.u32(GLOBALS);
    for (let index = 0; index < GLOBALS; index++) out.raw(Uint8Array.of(valueType.i32, 1, op.i32Const, 0, op.end));
  });
  section(out, sectionId.export, () => {
    const exported = [...program.functions.keys()].filter((index) => program.functions[index]?.exported);
    out.u32(exported.length);
    for (const index of exported) {
      out.name(`f${index}`);
      out.byte(kinds.function);
      out.u32(index);
    }
  });
  section(out, sectionId.element, () => {
    out.raw(Uint8Array.of(1, 0, op.i32Const, 0, op.end, program.table.length));
    for (const index of program.table) out.u32(index);
  });
  section(out, sectionId.code, () => {
    out.u32(program.functions.length);
    for (const { locals, body } of program.functions) {
      const size = out.beginSized();
      out.raw(Uint8Array.of(1, locals, valueType.i32));
      encodeBody(out, body);
      out.byte(op.end);
      out.endSized(size);
    }
  });
  return out.finish();
}

function section(out: ByteWriter, id: number, write: () => void): void {
  out.byte(id);
  const size = out.beginSized();
  write();
  out.endSized(size);
}

function encodeBody(out: ByteWriter, body: readonly Instruction[]): void {
  for (const instruction of body) encode(out, instruction);
}

function encode(out: ByteWriter, instruction: Instruction): void {
  const blockType = (result: boolean) => (result ? valueType.i32 : EMPTY_BLOCK);
  switch (instruction.kind) {
    case "const":
      out.byte(op.i32Const);
      out.signed(instruction.value);
      return;
    case "local":
    case "global":
      out.byte(instruction.opcode);
      out.u32(instruction.index);
      return;
    case "plain":
      out.byte(instruction.opcode);
      return;
    case "block":
    case "loop":
      out.raw(Uint8Array.of(instruction.kind === "block" ? op.block : op.loop, blockType(instruction.result)));
      encodeBody(out, instruction.body);
      out.byte(op.end);
      return;
    case "if":
      out.raw(Uint8Array.of(op.if, blockType(instruction.result)));
      encodeBody(out, instruction.body);
      if (instruction.otherwise) {
        out.byte(op.else);
        encodeBody(out, instruction.otherwise);
      }
      out.byte(op.end);
      return;
    case "try":
      out.raw(Uint8Array.of(op.tryTable, EMPTY_BLOCK, 1, CATCH_ALL, 0));
      encodeBody(out, instruction.body);
      out.byte(op.end);
      return;
    case "throw":
      out.raw(Uint8Array.of(op.throw, 0));
      return;
    case "br":
    case "br_if":
      out.byte(instruction.kind === "br" ? op.br : op.brIf);
      out.u32(instruction.label);
      return;
    case "br_table":
      out.byte(op.brTable);
      out.u32(instruction.labels.length - 1);
      for (const label of instruction.labels) out.u32(label);
      return;
    case "call":
    case "return_call":
      out.byte(instruction.kind === "call" ? op.call : op.returnCall);
      out.u32(instruction.callee);
      return;
    case "call_indirect":
      out.raw(Uint8Array.of(op.callIndirect, FUNCTION_TYPE, 0));
      return;
    case "memory":
      out.raw(Uint8Array.of(instruction.opcode, 2, 0));
      return;
    case "fill":
      out.raw(Uint8Array.of(op.miscPrefix, misc.memoryFill, 0));
      return;
    case "grow":
      out.raw(Uint8Array.of(op.memoryGrow, 0));
  }
}
