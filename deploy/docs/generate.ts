// `npm run docs`: rewrites the generated sections of README.md.
import { readFile, writeFile } from 'node:fs/promises';
import { withErrorTable } from './error-table.ts';

const readme = new URL('../../README.md', import.meta.url);
await writeFile(readme, withErrorTable(await readFile(readme, 'utf8')));
