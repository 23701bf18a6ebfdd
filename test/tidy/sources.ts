import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync } from 'vite';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** One file of the repository; `path` is relative to its root, with forward slashes. */
export type Source = { path: string; text: string };

/** Every source file of ours. */
export function sources(): Source[] {
  return globSync(['*.ts', '{apps,libs,streams,deploy,test}/**/*.{ts,mts,mjs,cjs}'], { cwd: root })
    .map((file) => file.replaceAll(path.sep, '/'))
    .filter((file) => !/(^|\/)(node_modules|\.ironclaw|dist)\//.test(file))
    .map((file) => ({ path: file, text: read(file) }));
}

/** The text of a file, named relative to the repository's root. */
export function read(file: string): string {
  return readFileSync(path.join(root, file), 'utf8');
}

/** What the file imports or re-exports, types too, as written in the source. */
export function importsOf({ path: file, text }: Source): string[] {
  const { module, errors } = parseSync(file, text);
  if (errors[0] !== undefined) throw new Error(`${file}: ${errors[0].message}`);
  const fixed = module.staticImports.map((entry) => entry.moduleRequest.value);
  const passedOn = module.staticExports.flatMap((statement) =>
    statement.entries.flatMap((entry) => entry.moduleRequest?.value ?? []),
  );
  const dynamic = module.dynamicImports.flatMap(({ moduleRequest }) => {
    const literal = /^['"`](.*)['"`]$/.exec(text.slice(moduleRequest.start, moduleRequest.end));
    return literal?.[1] ?? [];
  });
  return [...new Set([...fixed, ...passedOn, ...dynamic])];
}
