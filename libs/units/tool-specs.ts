/** A tool as it is offered to a model: a JSON schema of its arguments. */
export type ToolSpec = { name: string; description: string; parameters: Record<string, unknown> };

const CONTENT = 'Paths are relative to the folder of the order.';

function reader(name: string, description: string): ToolSpec {
  const args = { type: 'array', items: { type: 'string' }, maxItems: 64 };
  return {
    name,
    description: `${description} ${CONTENT}`,
    parameters: {
      type: 'object',
      properties: { args: { ...args, description: 'arguments, one string each' } },
      required: ['args'],
      additionalProperties: false,
    },
  };
}

function texts(name: string, description: string, properties: Record<string, string>): ToolSpec {
  const entries = Object.entries(properties).map(([key, about]) => [
    key,
    { type: 'string', description: about },
  ]);
  return {
    name,
    description,
    parameters: {
      type: 'object',
      properties: Object.fromEntries(entries) as Record<string, unknown>,
      required: Object.keys(properties),
      additionalProperties: false,
    },
  };
}

/** The tools that a unit has: six that read, `write`, and `blocked`, which gives the order up. */
export const TOOL_SPECS: readonly ToolSpec[] = [
  reader('ls', 'Lists folders. Options: -l -a -R.'),
  reader('cat', 'Shows files. Options: -n.'),
  reader(
    'grep',
    'Finds lines by a regular expression (as in JavaScript): args are options, pattern, paths. ' +
      'Options: -i -n -r -c -F -m N.',
  ),
  reader('find', 'Finds files below folders. Tests: -name PATTERN, -type f|d, -maxdepth N.'),
  reader('head', 'Shows the start of files. Options: -n N, -c N.'),
  reader('tail', 'Shows the end of files. Options: -n N, -c N.'),
  texts('write', 'Writes one text file under outputs/, beside the files of your answer.', {
    path: 'as outputs/notes.md',
    text: 'the whole file',
  }),
  texts('blocked', 'Gives the order up, where it cannot be done with what is there.', {
    reason: 'what is missing or in the way, in one or two sentences',
  }),
];
