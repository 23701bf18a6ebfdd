// `npm run docs`: rewrites the generated sections of README.md.
import { readFile, writeFile } from 'node:fs/promises';
import { withSections } from './sections.ts';

const readme = new URL('../../README.md', import.meta.url);
await writeFile(readme, withSections(await readFile(readme, 'utf8')));
