'use strict';

const METHODS = ['get', 'head', 'post', 'put', 'patch', 'delete'];

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// Text in which `backticks` mark code.
function prose(text) {
  return (text || '').split('`').map((part, index) => (index % 2 ? element('code', {}, part) : part));
}

// Follows references and gives a short form of a schema that a person can read.
function shape(openapi, schema, depth = 0) {
  if (!schema) return '';
  if (schema.$ref) {
    const name = schema.$ref.split('/').pop();
    return depth > 2 ? name : shape(openapi, openapi.components.schemas[name], depth);
  }
  for (const key of ['oneOf', 'anyOf']) {
    if (schema[key]) {
      const shapes = schema[key].map((option) => shape(openapi, option, depth));
      return [...new Set(shapes)].join(' | ');
    }
  }
  if (schema.allOf) return schema.allOf.map((part) => shape(openapi, part, depth)).join(' & ');
  if (schema.type === 'array') return `[${shape(openapi, schema.items, depth + 1)}]`;
  if (schema.properties) {
    const pad = '  '.repeat(depth + 1);
    const required = new Set(schema.required || []);
    const lines = Object.entries(schema.properties).map(([name, property]) =>
      `${pad}${name}${required.has(name) ? '' : '?'}: ${shape(openapi, property, depth + 1)}`);
    return `{\n${lines.join('\n')}\n${'  '.repeat(depth)}}`;
  }
  return [].concat(schema.type || 'any').join(' | ');
}

function table(headings, rows) {
  const head = element('tr', {}, ...headings.map((text) => element('th', { scope: 'col' }, text)));
  const body = rows.map((cells) => element('tr', {}, ...cells.map((cell) => element('td', {}, cell))));
  return element('table', {}, element('thead', {}, head), element('tbody', {}, ...body));
}

function content(openapi, holder) {
  return Object.entries((holder && holder.content) || {}).map(([type, media]) =>
    element('pre', {}, `${type}\n${shape(openapi, media.schema)}`));
}

function call(openapi, path, method, operation) {
  const parts = [element('p', {}, ...prose(operation.description || operation.summary))];
  if (operation.parameters && operation.parameters.length > 0) {
    parts.push(table(['Parameter', 'In', 'Meaning'], operation.parameters.map((parameter) => [
      parameter.name, parameter.in, element('span', {}, ...prose(parameter.description)),
    ])));
  }
  if (operation.requestBody) {
    parts.push(element('h3', {}, 'Body'), ...content(openapi, operation.requestBody));
  }
  parts.push(element('h3', {}, 'Answers'));
  for (const [status, response] of Object.entries(operation.responses || {})) {
    parts.push(element('p', {}, element('strong', {}, status), ' ', ...prose(response.description)));
    if (status !== 'default') parts.push(...content(openapi, response));
  }
  const title = element('summary', {},
    element('span', { class: 'method' }, method.toUpperCase()), element('code', {}, path));
  return element('details', { id: `${method}-${path}` }, title, element('div', {}, ...parts));
}

function show(openapi) {
  document.getElementById('summary').replaceChildren(...prose(openapi.info.description));
  const groups = new Map(openapi.tags.map((tag) => [tag.name, { tag, calls: [] }]));
  for (const [path, item] of Object.entries(openapi.paths)) {
    for (const method of METHODS) {
      const operation = item[method];
      if (!operation) continue;
      const group = groups.get((operation.tags || [])[0]);
      if (group) group.calls.push(call(openapi, path, method, operation));
    }
  }
  const links = [];
  for (const { tag, calls } of groups.values()) {
    const heading = element('h2', { id: tag.name }, tag.name);
    document.getElementById('calls').append(heading, element('p', {}, ...prose(tag.description)), ...calls);
    links.push(element('li', {}, element('a', { href: `#${tag.name}` }, `${tag.name} (${calls.length})`)));
  }
  document.getElementById('contents').append(element('ul', {}, ...links));
}

fetch('/openapi.json')
  .then((response) => response.json())
  .then(show)
  .catch((error) => { document.getElementById('summary').textContent = `The document cannot be read: ${error}`; });
