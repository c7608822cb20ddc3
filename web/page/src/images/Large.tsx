import { Dialog } from "../Dialog.tsx";

interface Props {
  address: string;
  name: string;
  onClose: () => void;
}

/** An image as large as there is room. */
export default function Large({ address, name, onClose }: Props) {
  return (
    <Dialog title={name} kind="image" onClose={onClose}>
      <img src={address} alt={`${name} that you sent`} />
    </Dialog>
  );
}
