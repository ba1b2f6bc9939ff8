//! The resolved tree a function is compiled to: names are slots, operators and builtins are bound, every node knows the
//! bytes it was written in. Evaluated by `evaluate`, run over columns by `kernel`.

use std::{ops::Range, sync::Arc};

use smol_str::SmolStr;

use super::primitive::{BinaryOp, BuiltinFn, CompareOp, MethodFn};
use crate::model::Value;

/// Bytes of the text a function was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Span { start: range.start as u32, end: range.end as u32 }
    }
}

/// An expression.
#[derive(Debug)]
pub struct Node {
    pub span: Span,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Kind {
    Constant(Value),
    /// A local variable, in a slot of the call's frame.
    Local(u32),
    /// A name of `[functions]`, by its index.
    Global(u32),
    Tuple(Box<[Node]>),
    List(Box<[Node]>),
    Dict(Box<[(Node, Node)]>),
    ListComprehension(Box<Comprehension>),
    DictComprehension(Box<Comprehension>),
    Not(Box<Node>),
    Unary(UnaryOp, Box<Node>),
    Binary(BinaryOp, Box<(Node, Node)>),
    Compare(CompareOp, Box<(Node, Node)>),
    In(Box<(Node, Node)>),
    NotIn(Box<(Node, Node)>),
    And(Box<(Node, Node)>),
    Or(Box<(Node, Node)>),
    /// Condition, value if true, value if false.
    If(Box<(Node, Node, Node)>),
    Index(Box<(Node, Node)>),
    Slice(Box<SliceNode>),
    Attribute(Box<Node>, SmolStr),
    Call(Box<CallNode>),
    /// A lambda or nested def, where it is created.
    Closure(Box<ClosureNode>),
    Format(Box<[FormatPart]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    Negate,
    Plus,
    BitNot,
}

#[derive(Debug)]
pub struct SliceNode {
    pub of: Node,
    pub start: Option<Node>,
    pub stop: Option<Node>,
    pub step: Option<Node>,
}

/// `[value for ... if ...]`, `{key: value for ...}`. The first clause is a `For`.
#[derive(Debug)]
pub struct Comprehension {
    pub key: Option<Node>,
    pub value: Node,
    pub clauses: Box<[Clause]>,
    /// Slots of its variables that closures share.
    pub boxes: Box<[u32]>,
}

#[derive(Debug)]
pub enum Clause {
    For(Target, Node),
    If(Node),
}

/// What is assigned to.
#[derive(Debug)]
pub struct Target {
    pub span: Span,
    pub kind: TargetKind,
}

#[derive(Debug)]
pub enum TargetKind {
    Local(u32),
    Tuple(Box<[Target]>),
    Index(Box<(Node, Node)>),
}

#[derive(Debug)]
pub struct CallNode {
    pub callee: Callee,
    pub positional: Box<[Node]>,
    pub named: Box<[(SmolStr, Node)]>,
    /// `*args` and `**kwargs`
    pub rest: Option<Node>,
    pub named_rest: Option<Node>,
}

#[derive(Debug)]
pub enum Callee {
    Builtin(BuiltinRef),
    Method(Node, MethodRef),
    Value(Node),
}

#[derive(Debug, Clone)]
pub struct BuiltinRef {
    pub name: SmolStr,
    pub function: BuiltinFn,
    pub passing: Passing,
}

/// A method name, looked up for the types it may be called on.
#[derive(Debug, Clone)]
pub struct MethodRef {
    pub name: SmolStr,
    pub on_str: Option<MethodFn>,
}

/// How mutable lists and dicts are given to a builtin, in functions that change them (see `evaluate::cell`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// Opened, with the elements as they are: the builtin moves them without looking into them.
    Shallow,
    /// As plain values: the builtin looks into them.
    Deep,
}

#[derive(Debug)]
pub struct ClosureNode {
    pub code: Arc<Code>,
    pub defaults: Box<[Node]>,
    /// Slots of the enclosing frame, in the order of `Code::captures`.
    pub captured: Box<[u32]>,
}

/// A piece of an f-string: text, or a field.
#[derive(Debug)]
pub enum FormatPart {
    Text(SmolStr),
    /// The node, and the field as `str.format` writes it: `{!r:>10}`; empty for a bare `{}`.
    Field(Node, SmolStr),
}

/// A compiled function body.
#[derive(Debug)]
pub struct Code {
    /// `<lambda>`, or the name of the def.
    pub name: SmolStr,
    pub span: Span,
    pub parameters: Parameters,
    /// Slots of a frame: parameters first.
    pub slots: u32,
    /// Slots that captured variables are copied to.
    pub captures: Box<[u32]>,
    /// Slots whose variable is shared with closures.
    pub boxes: Box<[u32]>,
    pub body: Body,
    /// Written in `[functions]`.
    pub in_library: bool,
    /// Depth of its deepest expression or statement.
    pub depth: u32,
    /// Changes lists or dicts in place.
    pub mutates: bool,
    /// Names of `[functions]` it uses, itself or in nested functions.
    pub globals: Box<[u32]>,
}

#[derive(Debug)]
pub enum Body {
    Expression(Node),
    Block(Box<[Statement]>),
}

/// Parameters, in slot order: positional, keyword-only, `*rest`, `**named_rest`.
#[derive(Debug, Default)]
pub struct Parameters {
    pub positional: Vec<Parameter>,
    /// How many of `positional` cannot be given by name.
    pub positional_only: usize,
    pub keyword_only: Vec<Parameter>,
    pub rest: Option<u32>,
    pub named_rest: Option<u32>,
}

#[derive(Debug)]
pub struct Parameter {
    pub name: SmolStr,
    /// Index into the closure's defaults.
    pub default: Option<u32>,
}

impl Parameters {
    pub fn required(&self) -> usize {
        self.positional.iter().filter(|p| p.default.is_none()).count()
    }

    /// Whether `count` positional arguments, and nothing else, fit.
    pub fn accept(&self, count: usize) -> bool {
        self.keyword_only.iter().all(|p| p.default.is_some())
            && self.required() <= count
            && (count <= self.positional.len() || self.rest.is_some())
    }
}

#[derive(Debug)]
pub struct Statement {
    pub span: Span,
    pub kind: StatementKind,
}

#[derive(Debug)]
pub enum StatementKind {
    Expression(Node),
    Assign(Target, Node),
    Augment(Target, BinaryOp, Node),
    If(Node, Box<[Statement]>, Box<[Statement]>),
    For(Target, Node, Box<[Statement]>),
    Return(Option<Node>),
    Break,
    Continue,
    Pass,
}

impl Node {
    /// The expressions directly inside, those of nested functions' defaults included, their bodies not.
    pub fn children<'a>(&'a self, each: &mut dyn FnMut(&'a Node)) {
        match &self.kind {
            Kind::Constant(_) | Kind::Local(_) | Kind::Global(_) => {}
            Kind::Tuple(parts) | Kind::List(parts) => parts.iter().for_each(each),
            Kind::Dict(pairs) => pairs.iter().for_each(|(key, value)| {
                each(key);
                each(value);
            }),
            Kind::ListComprehension(inner) | Kind::DictComprehension(inner) => {
                for clause in &inner.clauses {
                    match clause {
                        Clause::For(target, over) => {
                            each(over);
                            target.children(each);
                        }
                        Clause::If(condition) => each(condition),
                    }
                }
                inner.key.iter().for_each(&mut *each);
                each(&inner.value);
            }
            Kind::Not(of) | Kind::Unary(_, of) | Kind::Attribute(of, _) => each(of),
            Kind::Binary(_, pair) | Kind::Compare(_, pair) => {
                each(&pair.0);
                each(&pair.1);
            }
            Kind::In(pair) | Kind::NotIn(pair) | Kind::And(pair) | Kind::Or(pair) | Kind::Index(pair) => {
                each(&pair.0);
                each(&pair.1);
            }
            Kind::If(parts) => {
                each(&parts.0);
                each(&parts.1);
                each(&parts.2);
            }
            Kind::Slice(slice) => {
                each(&slice.of);
                [&slice.start, &slice.stop, &slice.step].into_iter().flatten().for_each(each);
            }
            Kind::Call(call) => {
                if let Callee::Method(of, _) | Callee::Value(of) = &call.callee {
                    each(of);
                }
                call.positional.iter().for_each(&mut *each);
                call.named.iter().for_each(|(_, node)| each(node));
                call.rest.iter().chain(&call.named_rest).for_each(each);
            }
            Kind::Closure(closure) => closure.defaults.iter().for_each(each),
            Kind::Format(parts) => parts.iter().for_each(|part| {
                if let FormatPart::Field(node, _) = part {
                    each(node);
                }
            }),
        }
    }
}

impl Target {
    fn children<'a>(&'a self, each: &mut dyn FnMut(&'a Node)) {
        match &self.kind {
            TargetKind::Local(_) => {}
            TargetKind::Tuple(targets) => targets.iter().for_each(|target| target.children(each)),
            TargetKind::Index(pair) => {
                each(&pair.0);
                each(&pair.1);
            }
        }
    }
}

impl Code {
    /// The outermost expressions of the body.
    pub fn expressions<'a>(&'a self, each: &mut dyn FnMut(&'a Node)) {
        match &self.body {
            Body::Expression(node) => each(node),
            Body::Block(statements) => statements.iter().for_each(|statement| statement.expressions(each)),
        }
    }
}

impl Statement {
    fn expressions<'a>(&'a self, each: &mut dyn FnMut(&'a Node)) {
        match &self.kind {
            StatementKind::Expression(node) | StatementKind::Return(Some(node)) => each(node),
            StatementKind::Assign(target, node) | StatementKind::Augment(target, _, node) => {
                each(node);
                target.children(each);
            }
            StatementKind::If(condition, then, otherwise) => {
                each(condition);
                then.iter().chain(otherwise).for_each(|statement| statement.expressions(each));
            }
            StatementKind::For(target, over, body) => {
                each(over);
                target.children(each);
                body.iter().for_each(|statement| statement.expressions(each));
            }
            StatementKind::Return(None) | StatementKind::Break | StatementKind::Continue | StatementKind::Pass => {}
        }
    }
}
