export { assertWritable, Denied } from './child/policy.ts';
export { prepareUnitCode } from './code.ts';
export { runUnit, UNIT_LIMITS, type UnitEnd, type UnitHost, type UnitPorts } from './host.ts';
export { detectIsolation, type Isolation } from './isolation.ts';
export type {
  Asked,
  FromUnit,
  Task,
  TaskLimits,
  ToolCall,
  ToolReport,
  ToUnit,
  Write,
} from './protocol.ts';
export { TOOL_SPECS, type ToolSpec } from './tool-specs.ts';
