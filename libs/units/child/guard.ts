// Imported first in a unit. The permission model of this Node stops no network; where the host
// gives the process no network namespace either, this is what stands in the way. It refuses every
// module of Node that the unit does not need, however it is asked for.
import { registerHooks } from 'node:module';

const NEEDED = new Set(['fs', 'path', 'vm', 'module']);

function refuse(name: string): never {
  throw new Error(`a unit may not use ${name}`);
}

registerHooks({
  resolve: (specifier, context, next) => {
    const resolved = next(specifier, context);
    const name = /^node:(.*)$/.exec(resolved.url)?.[1];
    if (name !== undefined && !NEEDED.has(name)) refuse(resolved.url);
    if (name === undefined && !resolved.url.startsWith('file:')) refuse(resolved.url);
    return resolved;
  },
});

const real = process.getBuiltinModule.bind(process) as (name: string) => object | undefined;
process.getBuiltinModule = ((name: string) =>
  NEEDED.has(name.replace(/^node:/, ''))
    ? real(name)
    : refuse(name)) as NodeJS.Process['getBuiltinModule'];

for (const name of ['fetch', 'WebSocket', 'EventSource', 'XMLHttpRequest']) {
  Reflect.deleteProperty(globalThis, name);
}
// A signal could reach the worker.
for (const name of ['kill', 'binding', 'dlopen', '_linkedBinding', '_debugProcess']) {
  Object.defineProperty(process, name, { value: () => refuse(`process.${name}`) });
}
