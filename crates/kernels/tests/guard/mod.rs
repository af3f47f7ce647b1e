//! Memory between pages that cannot be touched: whatever reads or writes a byte beyond a buffer ends the process.
//!
//! The allocator of the test puts every allocation of a thread so while [`each`] says it, those of the kernels themselves too.

/// Where a buffer lies in its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(target_os = "linux", target_pointer_width = "64", not(miri))),
    allow(dead_code, reason = "without pages everything is free")
)]
pub enum Place {
    /// Anywhere, as usual.
    Free,
    /// Its last byte is the last before a forbidden page, as far as its alignment allows.
    End,
    /// Its first byte is the first behind a forbidden page.
    Start,
}

/// Computes with all allocations free, then at the end of pages, then at their start; the results must be equal.
pub fn each<T: PartialEq>(compute: impl Fn() -> T) -> T {
    let expected = compute();
    for place in [Place::End, Place::Start] {
        let found = within(place, &compute);
        assert!(found == expected, "other results with memory at the {place:?} of pages");
    }
    expected
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", not(miri))))]
fn within<T>(_: Place, compute: impl Fn() -> T) -> T {
    compute()
}

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
pub use pages::within;

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(miri)))]
mod pages {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;
    use std::ptr::null_mut;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Place;

    /// Address space that is never used twice, so that a pointer that outlives its memory is found too.
    const REGION: usize = 1 << 36;

    thread_local! {
        static PLACE: Cell<Place> = const { Cell::new(Place::Free) };
    }

    /// Computes with all allocations of this thread there.
    pub fn within<T>(place: Place, compute: impl Fn() -> T) -> T {
        PLACE.with(|own| own.set(place));
        let result = compute();
        PLACE.with(|own| own.set(Place::Free));
        result
    }

    fn page() -> usize {
        static PAGE: OnceLock<usize> = OnceLock::new();
        // SAFETY: asks for a number.
        *PAGE.get_or_init(|| unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize)
    }

    /// The first address of the region, all of whose pages are forbidden at first.
    fn region() -> usize {
        static START: OnceLock<usize> = OnceLock::new();
        *START.get_or_init(|| {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: a new mapping at an address of the system's choice replaces none.
            let start = unsafe { libc::mmap(null_mut(), REGION, libc::PROT_NONE, flags, -1, 0) };
            if start == libc::MAP_FAILED { 0 } else { start.addr() }
        })
    }

    struct Pages;

    #[global_allocator]
    static ALLOCATOR: Pages = Pages;

    // SAFETY: memory is the system allocator's, or of pages of the region that nobody else was given, allowed until it is given
    // back; both are as long and aligned as asked for. Neither unwinds nor asks the allocator for more.
    unsafe impl GlobalAlloc for Pages {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            match PLACE.try_with(Cell::get).unwrap_or(Place::Free) {
                // SAFETY: the caller's promise.
                Place::Free => unsafe { System.alloc(layout) },
                place => take(layout, place),
            }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            let start = region();
            if (start..start + REGION).contains(&pointer.addr()) {
                give(pointer, layout);
            } else {
                // SAFETY: not of the region, so the system allocator's; the rest is the caller's promise.
                unsafe { System.dealloc(pointer, layout) }
            }
        }
    }

    fn take(layout: Layout, place: Place) -> *mut u8 {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let page = page();
        if region() == 0 || layout.align() > page {
            return null_mut();
        }
        let length = layout.size().next_multiple_of(page);
        // A forbidden page before; the one behind is before the next.
        let at = NEXT.fetch_add(length + page, Ordering::Relaxed) + page;
        if at + length + page > REGION {
            return null_mut();
        }
        let start = std::ptr::with_exposed_provenance_mut::<u8>(region() + at);
        // SAFETY: the pages are within the region, and nobody else was given them.
        let failed = unsafe {
            libc::mprotect(start.cast(), length, libc::PROT_READ | libc::PROT_WRITE) != 0
        };
        let offset = match place {
            Place::End => (length - layout.size()) & !(layout.align() - 1),
            _ => 0,
        };
        if failed { null_mut() } else { start.wrapping_add(offset) }
    }

    fn give(pointer: *mut u8, layout: Layout) {
        let page = page();
        let offset = pointer.addr() % page;
        let length = (offset + layout.size()).next_multiple_of(page);
        let start = pointer.wrapping_sub(offset);
        // SAFETY: these are the pages that were given for this allocation, which has ended.
        unsafe {
            libc::madvise(start.cast(), length, libc::MADV_DONTNEED);
            libc::mprotect(start.cast(), length, libc::PROT_NONE);
        }
    }

    /// Reads the byte at an offset of a buffer at that place, in a process of its own; says whether that was its end.
    fn dies(place: Place, length: usize, offset: isize) -> bool {
        let buffer = within(place, || vec![7u8; length]);
        // SAFETY: the child does nothing but read, and leave without any cleaning up.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                buffer.as_ptr().wrapping_offset(offset).read_volatile();
                libc::_exit(0);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            // A sanitizer catches the signal and exits.
            !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 0
        }
    }

    #[test]
    fn a_byte_too_far_is_fatal() {
        for length in [1, 63, 4096, 4097] {
            let end = length as isize;
            assert!(!dies(Place::End, length, 0) && !dies(Place::End, length, end - 1));
            assert!(!dies(Place::Start, length, 0) && !dies(Place::Start, length, end - 1));
            assert!(dies(Place::End, length, end), "{length}");
            assert!(dies(Place::Start, length, -1), "{length}");
        }
    }
}
