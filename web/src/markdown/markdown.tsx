import { Fragment, memo } from "react";
import { type Block, parseBlocks } from "./blocks.ts";
import { type Inline, parseInline } from "./inline.ts";

/** A reply. Only elements of its own are made from it: no HTML, no images, no address but http, https and mailto. */
export const Markdown = memo(function Markdown({ text }: { text: string }) {
  return <div className="markdown">{renderBlocks(parseBlocks(text))}</div>;
});

function renderBlocks(blocks: Block[]) {
  // biome-ignore lint/suspicious/noArrayIndexKey: a text only ever grows at its end.
  return blocks.map((block, index) => <BlockView key={index} block={block} />);
}

function BlockView({ block }: { block: Block }) {
  switch (block.kind) {
    case "paragraph":
      return <p>{renderInline(block.text)}</p>;
    case "heading":
      // Below the page's own headings.
      return block.level <= 2 ? <h3>{renderInline(block.text)}</h3> : <h4>{renderInline(block.text)}</h4>;
    case "code":
      return (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached with the keyboard.
        <pre tabIndex={0}>
          <code>{block.text}</code>
        </pre>
      );
    case "rule":
      return <hr />;
    case "quote":
      return <blockquote>{renderBlocks(block.blocks)}</blockquote>;
    case "list": {
      // biome-ignore lint/suspicious/noArrayIndexKey: as above.
      const items = block.items.map((item, index) => <li key={index}>{renderItem(item)}</li>);
      return block.ordered ? <ol start={block.start}>{items}</ol> : <ul>{items}</ul>;
    }
    default:
      return block satisfies never;
  }
}

/** An item of one line needs no paragraph around it. */
function renderItem([first, ...rest]: Block[]) {
  return first?.kind === "paragraph" ? (
    <>
      {renderInline(first.text)}
      {renderBlocks(rest)}
    </>
  ) : (
    renderBlocks(first ? [first, ...rest] : rest)
  );
}

function renderInline(text: string) {
  return renderParts(parseInline(text));
}

function renderParts(parts: Inline[]) {
  // biome-ignore lint/suspicious/noArrayIndexKey: as above.
  return parts.map((part, index) => <Fragment key={index}>{renderPart(part)}</Fragment>);
}

function renderPart(part: Inline) {
  if (typeof part === "string") {
    return part;
  }
  switch (part.kind) {
    case "code":
      return <code>{part.text}</code>;
    case "strong":
      return <strong>{renderParts(part.children)}</strong>;
    case "em":
      return <em>{renderParts(part.children)}</em>;
    case "strike":
      return <del>{renderParts(part.children)}</del>;
    case "link":
      return (
        <a href={part.href} target="_blank" rel="noopener noreferrer nofollow">
          {renderParts(part.children)}
        </a>
      );
    default:
      return part satisfies never;
  }
}
