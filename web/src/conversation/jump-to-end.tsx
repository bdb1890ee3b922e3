import { IconButton } from "../shell/icon-button.tsx";

export function JumpToEnd({ onJump }: { onJump: () => void }) {
  return (
    <div className="jump">
      <IconButton icon="down" label="Go to the newest message" onClick={onJump} />
    </div>
  );
}
